"""SageMaker processing jobs that really run, each in a sandbox that holds what its image would."""
