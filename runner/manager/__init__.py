"""The service: it asks for jobs, runs each in a task of one group, and answers for each to GitLab.

`job_run.py` is the story of one job.
"""
