ENV PATH=/opt/edgekit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/edgekit /opt/edgekit
COPY --from=build /srv /srv
COPY handler.py /srv/handler.py
# Lambda runs it as a user of its own, on a read-only file system.
USER 10001:10001
WORKDIR /srv
ENTRYPOINT ["python", "-m", "awslambdaric"]
CMD ["handler.handler"]
