"""CloudFormation, which calls the services as AWS does; moto's makes resources behind them.

template     JSON or YAML, read and checked
scope        what a template's expressions come to
stacks       what is remembered of a stack, and what a template would change in it
resources    what every resource type shares; the types are in `kinds`
deployment   from one template to the next, with events, and back when something fails
store        the stacks of one embedded AWS
changesets   change sets, and `api` all other operations
"""
