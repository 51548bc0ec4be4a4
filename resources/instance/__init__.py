"""What a Dagster instance of ours is made of: the templates `local.yaml` and `team.yaml`, and the classes they name."""
