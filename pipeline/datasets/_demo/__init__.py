"""The generator of the demo dataset: pictures, captions, speech-like audio, deliberate defects."""
