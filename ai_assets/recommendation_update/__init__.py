"""Recommendation update: indices, ranking, rules, recommendations and playlists, and the one module that answers.

Empfehlungen: Indizes, Rangfolge, Regeln, Empfehlungen und Playlists, dazu das eine Modul, das antwortet.

Recommandation : index, classement, règles, recommandations et playlists, et le seul module qui répond.
"""
