"""What is shown: metrics, health and the list of running jobs."""
