"""open_demo(): from a bundle's path to a page that is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.demo import facts, page
from edgekit.runtime import load, pipeline


@dataclass(frozen=True, slots=True)
class Demo:
    """A page that is served.

    Attributes:
        url: Where it is.
        title: The bundle's name and version.
        served: Gradio's page.
    """

    url: str
    title: str
    served: Any

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        self.served.block_thread()

    def close(self) -> None:
        """Stop serving."""
        self.served.close()


def open_demo(bundle: str, host: str, port: int, asked: Mapping[str, Any]) -> Demo:
    """Open a bundle and serve a page that asks it.

    Args:
        bundle: The bundle's folder, a packed file, or the name of an installed one.
        host: The address to bind.
        port: A TCP port; 0 takes a free one.
        asked: What else :func:`edgekit.runtime.load` shall be told: variant, threads, store, trust.

    Raises:
        UsageError: Gradio is not installed, the address cannot be bound, there is no demo of the bundle's task, or
            nothing of that name is installed.
        IntegrityError: The bundle is not, byte for byte, what its manifest lists.
        HostError: This machine cannot run it.
    """
    page.available()
    model = load(bundle, **asked)
    gr = page.gradio()
    told = facts.gather(model)
    built = page.build(gr, model, told, lambda task: pipeline(task, bundle, **asked))
    served = page.launch(gr, built, host, port)
    return Demo(served.local_url, told.title, served)
