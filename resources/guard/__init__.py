"""The door of the Dagster UI: who may come in, what each role may do, and a record of who did what.

`roles` is the one table of what needs which role, `identity` knows tokens and sessions, `documents` reads GraphQL
requests, `asgi` is the guard itself, `dagster_app` puts it round Dagster's own web application. What the web
application answers is Dagster's; where tokens lie and who starts the server belongs to the callers.
"""
