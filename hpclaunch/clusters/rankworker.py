"""The worker of a batch job's rank."""

from __future__ import annotations

from typing import Any

from distributed import Worker

__all__ = ["RankWorker"]


class RankWorker(Worker):  # type: ignore[misc]
    """A worker that leaves at once when its scheduler does.

    Dask's own waits up to 30 s for the tasks that run, and the script that wanted them is over.
    """

    async def close(self, *args: Any, **options: Any) -> Any:
        """End the worker; the thread of a task that runs ends with the process."""
        return await super().close(*args, **{**options, "executor_wait": False})
