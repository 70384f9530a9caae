"""The three objects that users hold: thin doors to the engine."""

from kallista.workflows.process_orchestrator import ProcessOrchestrator
from kallista.workflows.task_scheduler import TaskScheduler
from kallista.workflows.workflow_manager import WorkflowManager

__all__ = ["ProcessOrchestrator", "TaskScheduler", "WorkflowManager"]
