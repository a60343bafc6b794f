# One agent, or any other command of `syncline`. Optional packages are left out: they are the PostgreSQL
# servers of the demo and of tests.
FROM node:24-slim
WORKDIR /opt/syncline
COPY package.json package-lock.json ./
COPY bin bin
COPY scripts scripts
COPY sql sql
COPY src src
RUN npm ci --omit=dev --omit=optional
USER node
ENTRYPOINT ["/opt/syncline/bin/syncline"]
CMD ["--help"]
