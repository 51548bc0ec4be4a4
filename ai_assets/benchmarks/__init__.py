"""Judging the models on a user's own data, under the protocols that are used on public data."""
