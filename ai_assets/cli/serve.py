"""`serve`: the HTTP API of a home."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.output import ERR, platform_of, settings_of


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 = any free one.")
@click.pass_context
def serve(ctx: click.Context, host: str, port: int) -> int:
    """Serve recommendations, similar tracks, event intake (`/docs` describes them) and the listening room over HTTP.

    Example: `ai-assets serve --port 8080`, then
    `curl -H "Authorization: Bearer $TOKEN" localhost:8080/recommendations/listener-007?k=5`.
    The token is made in the home at the first start and printed once; AI_ASSETS_API_TOKEN sets it. The printed address
    opens the listening room in a browser, once. Ctrl-C ends it.
    """
    from ai_assets.serving.api_server import serve as run

    fresh = not settings_of(ctx).places.database.exists()
    platform = platform_of(ctx, prepare=fresh)
    run(platform, host=host, port=port, say=lambda line: ERR.print(line, highlight=False, markup=False, soft_wrap=True))
    return 0
