"""Short descriptions of tracks and playlists in English, German and French, from facts alone.

Here belong the wording (lexicon, patterns), the grammar that holds it together, the small language model that chooses
within it, the checker that reads what was rendered, and the path to a pretrained model. Facts, provenance and review
are shared with covers and music and live one level up.
"""
