"""Model training: the machinery every model shares, and the models that learn from listening.

Modelltraining: die gemeinsame Technik aller Modelle, dazu die Modelle, die aus dem Hören lernen.

Entraînement : le mécanisme commun à tous les modèles, et les modèles qui apprennent des écoutes.
"""
