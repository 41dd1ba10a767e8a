# Kept free of imports: `robovlms_ros.msg` is generated at build time into another folder than this one, and
# extending the path lets a source checkout or a pip copy that comes first on sys.path still find it.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
