# For recipes whose result is not installed by dpkg: firmware, sysroot contents, keys.

PACKAGES = ""
deltask package
deltask package_qa
deltask package_write_deb
