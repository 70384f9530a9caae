"""The pure heart: what happens next, computed without a clock, luck, I/O or asyncio."""
