"""The one border to MLflow: runs are created, filled and ended, with edgekit's errors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from edgekit.errors import RegistryError, UsageError
from edgekit.spec.manifest import MANIFEST_NAME
from edgekit.tracking.entries import Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE: Final = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE: Final = "MLFLOW_EXPERIMENT_NAME"
FROM_ENVIRONMENT: Final = "env"
EXPERIMENT: Final = "edgekit"
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
PARENT: Final = "mlflow.parentRunId"
# MLflow asks a server that does not answer for minutes, and tells its makers how it is used; what a user set stays.
_SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which belongs to our result
    "GIT_PYTHON_REFRESH": "quiet",  # it warns where there is no git, which nothing here needs
}
_ALWAYS: Final = (MANIFEST_NAME, "evidence/parity.json", "MODEL_CARD.md")
_PARAMETERS_AT_ONCE: Final = 100


class Tracker:
    """An experiment on a server.

    Args:
        uri: Of the server, or of a local store, as MLflow takes it; ``env`` takes ``MLFLOW_TRACKING_URI``.
        experiment: Its name; ``MLFLOW_EXPERIMENT_NAME``, or ``edgekit``, where None. Made where there is none.
        log_bundle: Whether bundles are uploaded; else only what tells of them.

    Raises:
        UsageError: mlflow is not installed, or the variable is not set.
        RegistryError: The server cannot be reached or refuses.
    """

    def __init__(self, uri: str, experiment: str | None = None, *, log_bundle: bool = False) -> None:
        if uri == FROM_ENVIRONMENT:
            uri = os.environ.get(URI_VARIABLE, "")
            if not uri:
                raise UsageError(f"--track {FROM_ENVIRONMENT}: {URI_VARIABLE} is not set", hint="name the server's URI")
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._log_bundle = log_bundle
        self._uri, self._shown = uri.rstrip("/"), _without_password(uri).rstrip("/")
        self._client = _client(uri)
        name = experiment or os.environ.get(EXPERIMENT_VARIABLE) or EXPERIMENT
        with self._border("open the experiment"):
            found = self._client.get_experiment_by_name(name)
            self._experiment = found.experiment_id if found else self._client.create_experiment(name)

    def log(self, entry: Entry, *, parent: str | None = None) -> str:
        """Log a build as a run that has ended.

        Args:
            entry: The build.
            parent: Id of the run that it is a part of.

        Returns:
            The run's id.

        Raises:
            RegistryError: The server cannot be reached or refuses.
        """
        tags = {**entry.tags, **({PARENT: parent} if parent else {})}
        run = self.begin(entry.name, entry.params, tags)
        with self._border("log a run"):
            self._fill(run, entry)
        self.end(run, FAILED if entry.failed else FINISHED)
        return run

    def begin(self, name: str, params: Mapping[str, str], tags: Mapping[str, str] | None = None) -> str:
        """Begin a run, and give its id.

        Raises:
            RegistryError: The server cannot be reached or refuses.
        """
        from mlflow.entities import Param

        with self._border("begin a run"):
            run = self._client.create_run(self._experiment, tags=dict(tags or {}), run_name=name)
            rows = [Param(key, value) for key, value in params.items()]
            for start in range(0, len(rows), _PARAMETERS_AT_ONCE):
                self._client.log_batch(run.info.run_id, params=rows[start : start + _PARAMETERS_AT_ONCE])
        return str(run.info.run_id)

    def end(
        self, run: str, status: str, metrics: Mapping[str, float] | None = None, files: Sequence[Path] = ()
    ) -> None:
        """End a run.

        Args:
            run: Its id.
            status: :data:`FINISHED`, :data:`FAILED` or :data:`KILLED`.
            metrics: To log before.
            files: To upload before.

        Raises:
            RegistryError: The server cannot be reached or refuses.
        """
        with self._border("end a run"):
            self._metrics(run, metrics or {})
            for path in files:
                self._client.log_artifact(run, str(path))
            self._client.set_terminated(run, status)

    def _fill(self, run: str, entry: Entry) -> None:
        self._metrics(run, entry.metrics)
        if entry.evidence is not None:
            self._client.log_artifacts(run, str(entry.evidence), "evidence")
        if entry.bundle is None:
            return
        if self._log_bundle:
            self._client.log_artifacts(run, str(entry.bundle), "bundle")
            return
        for path in _ALWAYS:
            if (entry.bundle / path).is_file():
                folder = path.rpartition("/")[0]
                self._client.log_artifact(run, str(entry.bundle / path), folder or None)

    def _metrics(self, run: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        if metrics:
            self._client.log_batch(run, metrics=[Metric(key, value, now, 0) for key, value in metrics.items()])

    @contextmanager
    def _border(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        try:
            yield
        except (MlflowException, RequestException, OSError) as error:
            first = str(error).strip().partition("\n")[0].replace(self._uri, self._shown)
            raise RegistryError(
                f"{self._shown}: MLflow cannot {what}: {first}",
                hint="check the URI and that the server runs; MLFLOW_TRACKING_USERNAME, _PASSWORD or _TOKEN sign in",
            ) from error


def _client(uri: str) -> MlflowClient:
    try:
        from mlflow import MlflowClient  # seconds, and only for those who track
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--track needs {error.name!r}, which is not installed", hint="pip install 'edgekit[mlflow]'"
        ) from error
    return MlflowClient(tracking_uri=uri)


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
