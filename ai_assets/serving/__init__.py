"""What stays running: the UI's supervisor and its parts, and what answers over HTTP.

Here are processes, ports, readiness and their end. What an answer says stands in the families; who may ask stands in
`resources.guard`.
"""
