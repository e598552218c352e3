ENV PATH=/opt/edgekit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/edgekit /opt/edgekit
COPY --from=build /srv /srv
# Nobody's user: what it can read it cannot change. Nothing is written, so that `docker run --read-only` works.
USER 10001:10001
ENTRYPOINT ["edgekit", "run", "/srv/bundle"]
