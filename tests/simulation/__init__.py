"""The whole embedded engine in a simulated world, thousands of times, each time another story.

A story is told by one number, its seed. Several programs, each a real ``Kallista`` on an event loop
of its own, work on one memory store; clients create, start, pause, resume, cancel, retry, delete
and wait. Time is virtual, there are no threads and no sockets, and all luck comes from the seed: it
says what each callback costs and how long each answer of the store takes, so one seed is one
interleaving, the same on every machine.

What goes wrong (``Climate`` in ``story.py``; half of the stories leave each misfortune out):

- programs die at any moment, before and after commits, or are killed by a task; some of the dead
  are not seen to be dead, so that only their silence tells; others leave in good order;
- commits fail, are reported as failed although they took effect, or take seconds; reads fail;
- programs stand still, or do not reach the store, for up to twice the lease;
- wall clocks are set back and forth, and differ between programs;
- the calls by which programs wake each other get lost, and clients give up before their answer;
- some programs have not all task types; tasks fail, take too long, are stubborn, run on threads.

Then there is peace: all that can end by itself must end, then all that waits for a person is told
to go on and must end too, and all programs leave. What must hold is judged by a plain model that
knows nothing of the engine (``ledger.py``, ``audit.py``):

- what was acknowledged is there, and what a client is told was true at some moment since it asked;
- no attempt begins before all that it depends on is durable, nor after its task has completed; its
  number is higher than any before, its idempotency key the same, the results it is given durable;
- never two attempts of a task at once, but for a program that cannot know yet that it counts as
  dead; whatever that one still writes changes nothing;
- limits hold at every moment; a poisonous task is set aside when it must be, and no other is;
- what completed did so once, by the attempt whose result is kept; histories fold to what is stored;
- nothing is stuck, nothing is held for nothing, ``explain`` gives the reason of what has not ended,
  and what is due begins within seconds while somebody has time;
- no error reaches a client or the event loop but the documented ones.

``python -m tests.simulation --seeds 20000 --jobs 2`` tells many stories, ``--seed N`` one of them
with all that happens in it. ``mutations.py`` makes mistakes on purpose, each of which must be
found, or the simulation proves nothing.
"""
