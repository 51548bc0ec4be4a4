"""Work on several machines over Celery: the app, signed messages, leases in Redis, the worker's step and the executor.

What is worked on stands in `ai_assets`; which executor a home uses is decided by `resources.executors`.
"""
