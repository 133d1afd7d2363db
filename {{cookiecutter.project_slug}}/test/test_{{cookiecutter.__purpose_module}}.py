{% include cookiecutter.example ~ "/test.py" -%}
