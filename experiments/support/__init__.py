"""What the experiment scripts share: flags, console, run directory, figures."""
