"""What is doubtful in a configuration that can be read: values that defeat each other, and what a cluster would refuse.

The law: a rule is a pure function from a configuration to its problems. It has an id and one severity, and for each
problem one sentence of what is wrong and one of the way out. No rule shows the value of a secret. What must be known of
the machine, such as a file's mode or text, comes as an argument.
"""
