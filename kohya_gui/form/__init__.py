"""The form that is made from the registry of options: the only code that knows a Gradio widget."""
