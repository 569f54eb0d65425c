"""Content is toxic: logs that cannot hold it, crashes that do not print it, memory not dumped."""
