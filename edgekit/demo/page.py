"""The page: where one asks, what comes back and how long it took, and the facts beside it."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from edgekit.demo import facts, panels
from edgekit.demo.facts import Facts
from edgekit.demo.panels import Panel
from edgekit.errors import EdgekitError, UsageError
from edgekit.runtime import Model

INSTALL: Final = "pip install 'edgekit[ui]', in an environment without edgekit[export]: Gradio wants an older Pillow"
SYSTEM_FONTS: Final = ("system-ui", "sans-serif")
CSS: Final = """
.gradio-container { max-width: 75rem !important; margin: 0 auto !important; }
#facts table, .table table { display: table; width: 100%; font-size: .9em; border-collapse: collapse; }
#facts table, #facts tr, .table table, .table tr { border: 0 !important; }
#facts td, #facts th, .table td, .table th { overflow-wrap: anywhere; padding: .35rem .6rem .35rem 0;
  border: 0; border-bottom: 1px solid var(--border-color-primary); }
#facts td:first-child { min-width: 6em; } #facts th, .table td + td { white-space: nowrap; }
.table { overflow-x: auto; }
#facts h2 ~ table:first-of-type thead { display: none; }
"""
# Nothing of the page may come from, or go to, another place than this program.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:"
)


def available() -> None:
    """Refuse early, without the second that importing Gradio takes.

    Raises:
        UsageError: It is not installed.
    """
    if "gradio" not in sys.modules and importlib.util.find_spec("gradio") is None:
        raise UsageError("a demo needs gradio, which is not installed", hint=INSTALL)


def gradio() -> Any:
    """Gradio, told before it is imported to report nothing to anybody.

    Raises:
        UsageError: It is not installed, or cannot be imported.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_SSR_MODE"] = "False"
    try:
        import gradio as found
    except ImportError as error:
        raise UsageError(f"a demo needs {error.name}, which cannot be imported", hint=INSTALL) from error
    return found


def build(gr: Any, model: Model, told: Facts, open_as: Callable[[str], Model]) -> Any:
    """Gradio's Blocks for an open bundle.

    Args:
        gr: What :func:`gradio` gives.
        model: The open bundle.
        told: What stands beside the answers.
        open_as: Opens the same bundle for another task.

    Raises:
        UsageError: There is no demo of the bundle's task.
    """
    with gr.Blocks(title=told.title, analytics_enabled=False) as page, gr.Row():
        with gr.Column(scale=3):
            if model.manifest.task == "feature-extraction":
                with gr.Tab("Compare"):
                    _connect(gr, panels.panel(gr, model), "")
                with gr.Tab("Classify by embeddings"):
                    use = "zero-shot-classification"
                    _connect(gr, panels.PANELS[use](gr, open_as(use)), "-labels")
            else:
                _connect(gr, panels.panel(gr, model), "")
        with gr.Column(scale=2, elem_id="facts"):
            gr.Markdown(facts.markdown(told))
    return page


def launch(gr: Any, page: Any, host: str, port: int) -> Any:
    """Serve the page from this process until it is interrupted; no tunnel, no other server.

    Args:
        gr: What :func:`gradio` gives.
        page: What :func:`build` made.
        host: The address to bind.
        port: A TCP port; 0 takes a free one.

    Returns:
        Gradio's page, served; its ``local_url`` says where.

    Raises:
        UsageError: The port is taken, or the address is not this machine's.
    """
    from starlette.middleware import Middleware

    theme = gr.themes.Base(primary_hue="teal", font=SYSTEM_FONTS, font_mono=("ui-monospace", "monospace"))
    try:
        page.queue(api_open=False).launch(
            server_name=host,
            server_port=port or _free_port(host),
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            pwa=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size="64mb",
            theme=theme,
            css=CSS,
            app_kwargs={"middleware": [Middleware(_Policy)], "docs_url": None, "redoc_url": None},
        )
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be served: {error}", hint="choose another --port") from error
    return page


class _Policy:
    """Adds the content security policy to every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, sending)


def _connect(gr: Any, panel: Panel, suffix: str) -> None:
    button = gr.Button("Ask", variant="primary", elem_id=f"ask{suffix}")
    took = gr.Markdown("", elem_id=f"took{suffix}")
    for output in panel.outputs:
        output.render()

    def asked(*values: Any) -> Iterator[tuple[Any, ...]]:
        began = time.perf_counter()
        try:
            answer = panel.answer(*values)
            for shown in [answer] if isinstance(answer, tuple) else answer:
                yield *shown, f"{1e3 * (time.perf_counter() - began):.1f} ms on this machine"
        except EdgekitError as error:  # the page is where it ends: said to whoever asked
            raise gr.Error(
                f"{error.message}{f' ({error.hint})' if error.hint else ''}", print_exception=False
            ) from error

    button.click(asked, list(panel.inputs), [*panel.outputs, took], show_progress="minimal", api_visibility="private")


def _free_port(host: str) -> int:
    import socket

    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        return int(server.getsockname()[1])
