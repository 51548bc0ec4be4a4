"""The lake: every table of the platform as Delta Lake, on a folder or an object store.

`tables` reads and commits, `fence` numbers attempts so that an old one can never overwrite a newer, `ledger` remembers
what each partition holds and from what it was made, `io_manager` is Dagster's way in. Bulky files that are no tables
belong in `resources.blobs`, small mutable state in `resources.database`.
"""
