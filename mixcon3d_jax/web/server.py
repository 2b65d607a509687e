"""Serves the page, and lets browsers fetch nothing from anywhere else."""

import gradio as gr
from starlette.middleware import Middleware

from mixcon3d_jax.errors import InputError

_POLICY = b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
_LOCAL = ("127.0.0.1", "localhost", "::1")


class ServerError(InputError):
    """The page can't be served."""


def serve(page: gr.Blocks, host: str, port: int, most_bytes: int) -> None:
    """Serves a page until it is interrupted.

    Args:
      page: what `build_page` returns.
      host: the address to listen at.
      port: the port to listen at.
      most_bytes: that an uploaded file may have.

    Raises:
      ServerError: if nothing can listen there.
    """
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            max_file_size=most_bytes,
            app_kwargs={"middleware": [Middleware(_OwnHostOnly)]},
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            quiet=True,
        )
    except OSError as error:
        raise ServerError(f"nothing can listen at {host}:{port}; say another --port") from error
    print(f"the page is at http://{host}:{port} (Ctrl-C ends it)", flush=True)
    if host not in _LOCAL:
        print("warning: whoever reaches this machine can use the page, there is no password")
    page.block_thread()


class _OwnHostOnly:
    """ASGI middleware: a content security policy on every response."""

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_policy(message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY)
                message = message | {"headers": [*message.get("headers", ()), policy]}
            await send(message)

        await self._app(scope, receive, send_with_policy)
