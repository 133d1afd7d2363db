"""Who may do what in the embedded AWS: IAM's decision for every call, and the record of all calls.

sessions     the principal behind an access key, with its policies
needs        from an API call to the permissions that it needs; `needs_s3` for S3
conditions   the operators of a policy's Condition
evaluation   from policies and a need to a decision, with its reason
trail        every need that arose, in a file
gate         the layer of the server that asks, notes, and refuses in the service's words
"""
