ENV PATH=/opt/edgekit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/edgekit /opt/edgekit
COPY --from=build /srv /srv
# Nobody's user: what it can read it cannot change. Nothing is written, so that `docker run --read-only` works.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["edgekit", "serve", "@NAME@=/srv/bundle", "--host", "0.0.0.0", "--port", "8080"]
