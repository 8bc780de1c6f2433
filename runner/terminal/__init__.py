"""What people reach of a running job from GitLab: a terminal, and the ports of its services.

Law: off unless the configuration has an address to listen at. Whoever asks has to know a session's address and its
secret; GitLab alone gets both, with each question for a job. No secret of a session reaches the job, none of the
cluster leaves it, and what is open ends with its job.
"""
