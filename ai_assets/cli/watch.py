"""`exporter`: the home's numbers for Prometheus."""

from __future__ import annotations

import signal
import threading

import rich_click as click

from ai_assets.cli.output import OUT, platform_of


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="Port; 0 = any free one.")
@click.pass_context
def exporter(ctx: click.Context, host: str, port: int) -> int:
    """Serve metrics of runs, assets, checks, partitions, indices, alerts and tasks at /metrics for Prometheus.

    Alert rules and a Grafana dashboard lie in `resources/instance/monitoring`. Example:
    `ai-assets exporter --port 9464`, then `curl http://127.0.0.1:9464/metrics`.
    """
    from ai_assets.home import open_instance
    from ai_assets.launch import load_definitions
    from ai_assets.serving.exporter import exporter_metrics
    from resources.metrics import serve_metrics

    platform = platform_of(ctx, prepare=True)
    ended = threading.Event()
    load_definitions(platform)  # enters every asset into the contracts that are watched
    with open_instance(platform) as instance:
        server, thread = serve_metrics(exporter_metrics(platform, instance), host=host, port=port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        OUT.print(f"metrics on http://{host}:{server.server_port}/metrics", highlight=False, markup=False)
        ended.wait()
        server.shutdown()
        thread.join()
        server.server_close()
    return 0
