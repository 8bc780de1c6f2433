"""What is shown: metrics, health and the list of running jobs.

Law: nothing here decides anything. The manager tells a `StatusBoard` what happens; a page, a metric and a probe only
read it, ask GitLab nothing, and hold no variable, token or credential.
"""
