"""Stand-ins for what stands in front of servers: they really pass requests on, and refuse and fail as the real ones."""
