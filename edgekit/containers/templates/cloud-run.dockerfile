ENV PATH=/opt/edgekit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/edgekit /opt/edgekit
COPY --from=build /srv /srv
# Nobody's user: what it can read it cannot change.
USER 10001:10001
# Cloud Run says in PORT where to listen, and asks /health itself (a startup probe); it does not look at HEALTHCHECK.
ENV PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/sh", "-c", "exec edgekit serve @NAME@=/srv/bundle --host 0.0.0.0 --port \"$PORT\" \"$@\"", "serve"]
