"""The sample library and the listener simulator: music and listening that nobody had to collect.

English: ``synthesise_library`` composes and renders tagged audio files in several styles, formats and qualities, with
a MIDI file beside each and a few files damaged on purpose; ``simulate_listening`` lets invented listeners play them
for weeks. Both are for trying the platform, for tests and for load; every figure that comes from them is synthetic.
Their truth (tempo, key, tastes) lies apart and is only ever compared with, never learned from. This package shares no
code, feature or latent space with the models, and imports no other package of the project.

Deutsch: ``synthesise_library`` komponiert und rendert Audiodateien mit Tags in mehreren Stilen, Formaten und Güten,
legt neben jede eine MIDI-Datei und streut einige absichtlich beschädigte Dateien ein; ``simulate_listening`` lässt
erfundene Hörer sie wochenlang abspielen. Beides dient zum Ausprobieren, für Tests und Lastproben; jede Zahl daraus ist
synthetisch. Die Wahrheit dahinter (Tempo, Tonart, Geschmack) liegt getrennt und dient nur dem Vergleich, nie dem
Lernen. Das Paket teilt mit den Modellen weder Code noch Merkmale noch einen latenten Raum.

Français : ``synthesise_library`` compose et rend des fichiers audio étiquetés dans plusieurs styles, formats et
qualités, dépose à côté de chacun un fichier MIDI et y mêle quelques fichiers abîmés à dessein ; ``simulate_listening``
les fait écouter pendant des semaines par des auditeurs inventés. Cela sert à essayer la plateforme, aux tests et aux
essais de charge ; tout chiffre qui en provient est synthétique. La vérité (tempo, tonalité, goûts) est rangée à part :
on s'y compare, on n'en apprend jamais. Ce paquet ne partage avec les modèles ni code, ni descripteur, ni espace latent.
"""
