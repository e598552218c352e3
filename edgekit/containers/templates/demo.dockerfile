ENV PATH=/opt/edgekit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/edgekit /opt/edgekit
COPY --from=build /srv /srv
# Nobody's user: what it can read it cannot change. Files that people give it go to /tmp, which has to be writable.
USER 10001:10001
EXPOSE 7860
# The page ends on an interrupt; the first process of a container would not hear SIGTERM.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/', timeout=4)"]
ENTRYPOINT ["edgekit", "demo", "/srv/bundle", "--host", "0.0.0.0", "--port", "7860"]
