"""`python -m ai_assets.cli`: the same as `ai-assets`, with the interpreter at hand."""

from ai_assets.cli import main

if __name__ == "__main__":
    main()
