"""Who is connected, how bytes get there, and what a host and a coordinator say."""
