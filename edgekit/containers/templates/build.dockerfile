# Written by edgekit @VERSION@ for the bundle @BUNDLE@ (edgekit.json: sha256 @DIGEST@).
# The tag moves with Python's patch releases. For the same image tomorrow, pin it: BASE=@BASE@@sha256:…
ARG BASE=@BASE@

FROM ${BASE} AS build
COPY packages /build
RUN python -m venv --without-pip /opt/edgekit
RUN python -m pip --python /opt/edgekit/bin/python install --no-cache-dir --no-compile --disable-pip-version-check -r /build/requirements.txt
# The way to a hub, which no image asks.
RUN python -m pip --python /opt/edgekit/bin/python uninstall --yes --disable-pip-version-check @UNINSTALLED@
@CUTS@
COPY srv /srv
# Stops the build where a byte is not what the bundle lists, this machine cannot run it, or it answers otherwise. What is
# imported here is left compiled, so that a container starts faster.
RUN /opt/edgekit/bin/edgekit verify /srv/bundle
@WARM@
FROM ${BASE}
LABEL org.opencontainers.image.title="@BUNDLE@" org.opencontainers.image.version="@RELEASE@" org.opencontainers.image.licenses="@LICENSE@"
