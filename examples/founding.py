"""The three programs that Kallista began with: a workflow, a scheduled task, and a process.

    python examples/founding.py

Everything is kept in ``data/workflows/kallista.db``; run it again and it goes on or finds its work
done, and the generated files lie in ``output/``.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from kallista import Kallista


async def main() -> None:
    async with Kallista() as app:
        workflow_manager = app.workflow_manager
        scheduler = app.scheduler
        orchestrator = app.orchestrator

        workflow_id = await workflow_manager.create_workflow(
            name="Gerar Sistema WPF",
            tasks=[
                {"type": "system_design", "config": {"pattern": "MVVM"}},
                {"type": "code_generation", "config": {"template": "wpf_main"}},
            ],
            config={"continue_on_error": False},
        )
        await workflow_manager.start_workflow(workflow_id)

        await scheduler.schedule_task(
            task_id="generate_view",
            task_data={
                "type": "code_generation",
                "template": "wpf_view",
                "params": {"name": "MainWindow"},
            },
            scheduled_time=datetime.now(),
            priority=1,
        )

        process_id = await orchestrator.create_process(
            {
                "id": "create_wpf_app",
                "steps": [
                    {"id": "design", "type": "workflow", "name": "System Design"},
                    {"id": "generate", "type": "task", "task_data": {"type": "code_generation"}},
                ],
                "dependencies": ["setup_environment"],
            }
        )
        await orchestrator.start_process(process_id)

        print(await workflow_manager.wait_workflow(workflow_id, timeout=60))
        print(await scheduler.wait_task("generate_view", timeout=60))

        # The process waits for another one; this is what it waits for, and then it goes on.
        print(await orchestrator.explain(process_id))
        setup = {"id": "setup_environment", "steps": [{"type": "sleep", "seconds": 0}]}
        await orchestrator.run_process(setup, timeout=60)
        print(await orchestrator.wait_process(process_id, timeout=60))


if __name__ == "__main__":
    asyncio.run(main())
