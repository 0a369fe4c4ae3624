"""What people edit: bases, recipes, suites, templates and studies as YAML, and the loader that checks them."""
