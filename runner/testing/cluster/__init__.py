"""A Kubernetes of one node in this process: what the API server does, what a kubelet does, and the wire between.

Top floor, beside `runner.testing`, whose public doors are `runner.testing.kubernetes` and `runner.testing.kubelets`.
The law: behave as the real one does where a client can tell, say so in the docstring where not, and never import the
code under test (`runner.kube`, `runner.executor`): what both misunderstand in the same way no test would find.
"""
