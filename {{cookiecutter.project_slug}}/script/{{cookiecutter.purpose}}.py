{% include cookiecutter.example ~ "/script.py" -%}
