"""Ways to read and switch a WordPress site; ``php/`` holds what is sent to hosts."""
