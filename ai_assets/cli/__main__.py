"""`python -m ai_assets.cli`: the same as `ai-assets`."""

from ai_assets.cli import main

if __name__ == "__main__":
    main()
