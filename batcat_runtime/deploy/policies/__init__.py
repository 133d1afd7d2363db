"""Least privilege as plain data: what each role of a purpose may do, one module a role.

    document    statements and documents, in one spelling
    workflow    the state machine's role: it starts processing jobs
    job         the jobs' role: it reads inputs, writes results, and what `permissions` adds
    trigger     the Lambda function's role: it starts the state machine
    schedule    EventBridge Scheduler's role: it invokes the function
    deployer    whoever runs deploy/deploy.sh
    sources     actions that no rehearsal shows, each with AWS's page that asks for it

Every statement names its resources. ``*`` stands only where the service authorization reference
knows no resource for the action, and the statement's `Sid` says so.
"""
