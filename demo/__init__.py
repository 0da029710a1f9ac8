"""The embedded demo: pictures that we draw, the tiny model trained on them, and the judge that names what a picture shows."""
